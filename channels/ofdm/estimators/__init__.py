"""Estimators of the gains of an OFDM link, and what is measured on pilots beside gains."""
