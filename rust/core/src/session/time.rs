//! How the session counts time: durations since an epoch of the driver's choice. It reads no clock.

use std::time::Duration;

/// Time since an epoch that the driver chose; monotonic.
pub type Time = Duration;
