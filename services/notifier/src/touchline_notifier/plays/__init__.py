"""Plays that ship: they run when TOUCHLINE_PLAYS names them, or when they are copied into TOUCHLINE_PLAYS_DIR."""
