"""Miner-face (MF) image sets and the conditions of a mine, for training and for calibration."""
