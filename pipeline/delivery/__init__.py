"""From a model to what is live: releases and stages in Git, images, rollouts, platforms.

It computes no model and plans no step.
"""
