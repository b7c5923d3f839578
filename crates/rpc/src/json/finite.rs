//! Whether a value has nothing in it that JSON has no number for. It is walked as for writing, and nothing is written.

use std::fmt::Display;

use serde::Serialize;
use serde::ser::{self, Error as _, Serializer};
use serde_json::{Error, Result};

/// # Errors
/// For a float that is not finite; what the value says itself.
pub(super) fn check(value: &(impl Serialize + ?Sized)) -> Result<()> {
    value.serialize(Walk)
}

#[derive(Clone, Copy)]
struct Walk;

macro_rules! fine {
    ($($method:ident($($type:ty),*))*) => {
        $(fn $method(self, $(_: $type),*) -> Result<()> {
            Ok(())
        })*
    };
}

// The method that is given a value; with what names it in between, where it has a name.
macro_rules! compound {
    ($($trait:ident::$method:ident($($name:ty)?))*) => {
        $(impl ser::$trait for Walk {
            type Ok = ();
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, $(_: $name,)? value: &T) -> Result<()> {
                check(value)
            }

            fn end(self) -> Result<()> {
                Ok(())
            }
        })*
    };
}

compound!(SerializeSeq::serialize_element() SerializeTuple::serialize_element() SerializeTupleStruct::serialize_field()
          SerializeTupleVariant::serialize_field() SerializeStruct::serialize_field(&'static str)
          SerializeStructVariant::serialize_field(&'static str));

impl ser::SerializeMap for Walk {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, _: &T) -> Result<()> {
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        check(value)
    }

    fn end(self) -> Result<()> {
        Ok(())
    }
}

impl Serializer for Walk {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Walk;
    type SerializeTuple = Walk;
    type SerializeTupleStruct = Walk;
    type SerializeTupleVariant = Walk;
    type SerializeMap = Walk;
    type SerializeStruct = Walk;
    type SerializeStructVariant = Walk;

    fn serialize_f32(self, value: f32) -> Result<()> {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<()> {
        if value.is_finite() { Ok(()) } else { Err(Error::custom(format!("JSON has no number for {value}"))) }
    }

    fine! {
        serialize_bool(bool) serialize_char(char)
        serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64) serialize_i128(i128)
        serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64) serialize_u128(u128)
        serialize_str(&str) serialize_bytes(&[u8]) serialize_none() serialize_unit() serialize_unit_struct(&'static str)
        serialize_unit_variant(&'static str, u32, &'static str)
    }

    fn collect_str<T: Display + ?Sized>(self, _: &T) -> Result<()> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<()> {
        check(value)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<()> {
        check(value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<()> {
        check(value)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Walk> {
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Walk> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Walk> {
        Ok(self)
    }

    fn serialize_tuple_variant(self, _: &'static str, _: u32, _: &'static str, _: usize) -> Result<Walk> {
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Walk> {
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Walk> {
        Ok(self)
    }

    fn serialize_struct_variant(self, _: &'static str, _: u32, _: &'static str, _: usize) -> Result<Walk> {
        Ok(self)
    }
}
