"""What several tests share: toys, slow implementations to compare with, and ways to run tools and the pipeline."""
