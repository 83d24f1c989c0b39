"""The live page, its server part in this process."""
