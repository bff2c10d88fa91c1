# SPDX-License-Identifier: Apache-2.0
"""A bundle becomes a running process. Knows no image and no name."""
