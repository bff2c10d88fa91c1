# SPDX-License-Identifier: Apache-2.0
"""A specification becomes steps: pure. Must not import kernel."""
