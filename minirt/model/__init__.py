# SPDX-License-Identifier: Apache-2.0
"""The nouns: pure values and grammars. No I/O; imports only errors."""
