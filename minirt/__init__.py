# SPDX-License-Identifier: Apache-2.0
"""minirt: a container runtime for Linux that can be read. ARCHITECTURE.md says where everything is."""

__version__ = "0.1.0"
