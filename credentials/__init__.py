#!/usr/bin/env python3
"""How is one proof made and checked?

Pure knowledge: no database, no Flask, no global clock. Each module takes
values and answers, so its tests need no fixture.
"""
