"""What is done to disks where they lie: growing, moving, copying, looking for what nobody owns."""
