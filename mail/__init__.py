#!/usr/bin/env python3
"""What is mailed, how it is kept until it is sent, and how it travels.

A mail is a row of the outbox first, written together with its cause; a
request never waits for a mail server. letters.py turns a row into words,
transports.py hands them over, outbox.py decides when and how often, and
sender.py keeps at it.
"""
