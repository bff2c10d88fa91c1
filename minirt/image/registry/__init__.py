# SPDX-License-Identifier: Apache-2.0
"""Registries: the OCI distribution specification's client, whom it trusts and what it logs in with."""
