#!/usr/bin/env python3
"""How many small mistakes in our code the tests notice (make mutants)."""
