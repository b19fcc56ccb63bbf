#!/usr/bin/env python3
"""Proofs of examples/: each is run as its page says, by real programs."""
