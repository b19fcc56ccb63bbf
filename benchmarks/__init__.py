#!/usr/bin/env python3
"""How fast the service is, beside its limits and its peers, in one run."""
