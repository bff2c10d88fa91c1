# SPDX-License-Identifier: Apache-2.0
"""Reserved for bridges, addresses, ports and names."""
