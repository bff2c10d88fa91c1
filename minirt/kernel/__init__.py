# SPDX-License-Identifier: Apache-2.0
"""System calls, descriptors, processes: the only room that touches C."""
