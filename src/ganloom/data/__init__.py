"""From images anywhere to a stream: sources, preparation, the packed dataset, the order of training."""
