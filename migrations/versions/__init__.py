#!/usr/bin/env python3
"""One file a version; each says what it adds to the one before."""
