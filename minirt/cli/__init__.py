# SPDX-License-Identifier: Apache-2.0
"""Docker's words: the only room that prints and exits."""
