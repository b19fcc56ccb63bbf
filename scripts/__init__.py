#!/usr/bin/env python3
"""What is run by hand, to make files that are kept."""
