# SPDX-License-Identifier: Apache-2.0
"""Plans to look at: reads what other rooms know. Only cli knows it."""
