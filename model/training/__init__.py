"""What only learning needs: fitting a chain head and its calibration."""
