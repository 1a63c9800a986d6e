"""The receiver under attack: floods of forged requests beside genuine ones, and requests that are noise."""
