//! Names of what travels as a byte: the same in JSON, on screen and in trace files.

use crate::{
    conn::OwnerSource,
    hook::Hook,
    record::{Cause, End},
};

macro_rules! from_name {
    ($($type:ty),*) => {$(
        impl $type {
            /// From its name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                (0..=u8::MAX)
                    .map_while(Self::from_byte)
                    .find(|value| value.name() == name)
            }
        }

        #[cfg(feature = "user")]
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.name())
            }
        }
    )*};
}
from_name!(OwnerSource, Cause, End);

impl Hook {
    /// From its name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| hook.name() == name)
    }
}
