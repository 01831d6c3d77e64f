//! `"{...}".parse()` for everything that is written as JSON, so that a caller needs no serde of its own.

use std::str::FromStr;

use super::condition::Condition;
use super::config::SimulatorConfig;
use super::script::{Script, Step, Target};

macro_rules! from_json {
    ($($name:ty),*) => {$(
        impl FromStr for $name {
            type Err = String;

            /// From JSON text.
            fn from_str(json: &str) -> Result<Self, String> {
                serde_json::from_str(json).map_err(|error| error.to_string())
            }
        }
    )*};
}

from_json!(SimulatorConfig, Script, Step, Target, Condition);
