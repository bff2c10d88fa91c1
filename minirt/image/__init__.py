# SPDX-License-Identifier: Apache-2.0
"""Archives become layer directories, and images are found again. Knows no container."""
