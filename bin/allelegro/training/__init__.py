"""Models fitted to lentiMPRA and to personal PRO-cap, and the figures that judge them."""
