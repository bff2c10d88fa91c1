# SPDX-License-Identifier: Apache-2.0
"""One file for each verb of the command line: its options as COMMAND, what it does as run(session, parsed)."""
