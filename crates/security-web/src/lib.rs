//! The web layer's judgement: request view, client address, limits, lock-out, policy, headers.
