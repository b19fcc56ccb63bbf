#!/usr/bin/env python3
"""Proofs of what is mailed, how it waits, and how it travels."""
