#!/usr/bin/env python3
"""Tests of the routes beyond the card."""
