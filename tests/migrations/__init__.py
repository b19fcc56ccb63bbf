#!/usr/bin/env python3
"""Proofs about migrations/, with a seeded database of every release."""
