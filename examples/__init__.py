#!/usr/bin/env python3
"""Programs that use the service, each to be read alone: see README.md."""
