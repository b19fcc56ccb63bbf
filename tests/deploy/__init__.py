#!/usr/bin/env python3
"""Proofs of deploy/: what is deployed starts, serves, and is locked down."""
