# SPDX-License-Identifier: Apache-2.0
"""Named containers and images: one verb per file, and the database. Never prints."""
