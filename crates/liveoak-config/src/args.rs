//! The arguments of a child of a kind: plain values, and the way from them to the type that the kind declares.
//!
//! [`read`] finds everything that is wrong in one call, although a type of `serde` stops at its first error: it notes
//! the error, gives the type a stand-in for the wrong value, and reads again. Each error has the steps that lead to its
//! place, so that a file can show it there.

use crate::fault::{Fault, Problem, Step};
use crate::stand_in::StandIn;
use serde_core::de::value::StrDeserializer;
use serde_core::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};
use serde_core::forward_to_deserialize_any;
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;

/// The most errors that one table of arguments can have; the others are found when these are mended.
const MAX_FAULTS: usize = 20;

/// The arguments of a child: a table of plain values. Two are equal if they have the same keys and values, in any order.
///
/// `Debug` shows the keys only, because values may be secrets.
#[derive(Clone, Default, PartialEq)]
pub struct Args(pub(crate) Map<String, Value>);

impl Args {
    /// Returns the value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// Returns the keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns the keys whose values differ, or that only one of both has.
    pub(crate) fn differing(&self, other: &Self) -> Vec<String> {
        let keys: std::collections::BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        keys.into_iter().filter(|key| self.0.get(*key) != other.0.get(*key)).cloned().collect()
    }
}

impl fmt::Debug for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Args ")?;
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Reads arguments as a value of the type that a kind declares.
///
/// # Errors
/// Everything that is wrong with them.
pub(crate) fn read<A: DeserializeOwned>(args: &Args) -> Result<A, Vec<Fault>> {
    let state = State::default();
    let value = Value::Object(args.0.clone());
    loop {
        let fault = match (At { value: &value, state: &state }).read(PhantomData::<A>) {
            Ok(read) if state.faults.borrow().is_empty() => return Ok(read),
            Ok(_) => return Err(state.faults.take()),
            Err(fault) => Fault { steps: Some(fault.steps.unwrap_or_default()), ..fault },
        };
        let mut faults = state.faults.borrow_mut();
        // If the type refuses a stand-in, that is no error of the arguments. If it is not known which value the type
        // refuses, that value may be a stand-in.
        let may_stand_in = !faults.is_empty() && matches!(fault.problem, Problem::Inside { .. });
        let stands_in = may_stand_in || faults.iter().any(|known| known.stands_in_for(&fault));
        if !stands_in {
            faults.push(fault);
        }
        if stands_in || faults.len() == MAX_FAULTS {
            drop(faults);
            return Err(state.faults.take());
        }
        drop(faults);
        state.steps.borrow_mut().clear();
    }
}

/// The state of reading arguments.
#[derive(Default)]
struct State {
    /// The errors of earlier passes.
    faults: RefCell<Vec<Fault>>,
    /// The steps to the value that is being read.
    steps: RefCell<Vec<Step>>,
}

impl State {
    /// Runs `read` one step further down, and notes the place of its error.
    fn below<T>(&self, step: Step, read: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
        self.steps.borrow_mut().push(step);
        let read = read().map_err(|fault| Fault {
            steps: Some(fault.steps.unwrap_or_else(|| self.steps.borrow().clone())),
            ..fault
        });
        self.steps.borrow_mut().pop();
        read
    }

    /// Returns the error that an earlier pass found at a step below the present value.
    fn known(&self, step: &Step) -> Option<Problem> {
        let steps = self.steps.borrow();
        let is_there = |fault: &&Fault| {
            fault.steps().split_last().is_some_and(|(last, above)| last == step && above == steps.as_slice())
        };
        self.faults.borrow().iter().find(is_there).map(|fault| fault.problem.clone())
    }

    /// Returns the keys that an earlier pass missed in the present value.
    fn missing(&self) -> Vec<&'static str> {
        let (steps, faults) = (self.steps.borrow(), self.faults.borrow());
        let here = faults.iter().filter(|fault| fault.steps() == steps.as_slice());
        here.filter_map(|fault| match fault.problem {
            Problem::Missing(key) => Some(key),
            _ => None,
        })
        .collect()
    }
}

/// A value in the arguments.
#[derive(Clone, Copy)]
struct At<'a> {
    value: &'a Value,
    state: &'a State,
}

impl At<'_> {
    /// Reads the value. Types that buffer a table (`flatten`, `tag`) refuse a value in it without its place.
    fn read<'de, T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        seed.deserialize(self).map_err(|fault| match self.value {
            Value::Object(_) => fault.somewhere_inside(),
            _ => fault,
        })
    }
}

impl<'de> Deserializer<'de> for At<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (None, Some(number)) => visitor.visit_i64(number),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or_default()),
            },
            Value::String(text) => visitor.visit_str(text),
            Value::Array(elements) => {
                let mut rest = Elements { elements: elements.iter(), next: 0, state: self.state };
                let read = visitor.visit_seq(&mut rest)?;
                match rest.elements.len() {
                    0 => Ok(read),
                    _ => Err(Fault::invalid_length(elements.len(), &format!("{}", rest.next).as_str())),
                }
            }
            Value::Object(table) => {
                let entries = Entries {
                    entries: table.iter(),
                    missing: self.state.missing().into_iter(),
                    value: None,
                    state: self.state,
                };
                visitor.visit_map(entries)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    // An empty table is what a kind without arguments gets.
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Value::Object(table) = self.value else { return self.deserialize_any(visitor) };
        let is_new = |key: &&String| self.state.known(&Step::Key((*key).clone())).is_none();
        match table.keys().find(is_new) {
            None => visitor.visit_unit(),
            Some(key) => self.state.below(Step::Key(key.clone()), || Err(Fault::unknown_field(key, &[]))),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let (variant, content) = match self.value {
            Value::String(variant) => (variant, None),
            Value::Object(table) if table.len() == 1 => match table.iter().next() {
                Some((variant, content)) => (variant, Some(content)),
                None => return self.deserialize_any(visitor),
            },
            _ => return self.deserialize_any(visitor),
        };
        visitor.visit_enum(Variant { variant, content, state: self.state })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

/// The elements of an array that are still to be read.
struct Elements<'a> {
    elements: std::slice::Iter<'a, Value>,
    next: usize,
    state: &'a State,
}

impl<'de> SeqAccess<'de> for &mut Elements<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(value) = self.elements.next() else { return Ok(None) };
        let step = Step::Index(self.next);
        self.next += 1;
        let (state, known) = (self.state, self.state.known(&step));
        let read = || match known {
            Some(_) => seed.deserialize(StandIn),
            None => At { value, state }.read(seed),
        };
        state.below(step, read).map(Some)
    }
}

/// The entries of a table that are still to be read.
struct Entries<'a> {
    entries: serde_json::map::Iter<'a>,
    missing: std::vec::IntoIter<&'static str>,
    /// The key and the value of the entry whose key was read; without a value if the table lacks the key.
    value: Option<(String, Option<&'a Value>)>,
    state: &'a State,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let state = self.state;
        let is_unknown =
            |key: &str| matches!(state.known(&Step::Key(key.to_owned())), Some(Problem::Key { .. }));
        let given = self.entries.find(|(key, _)| !is_unknown(key));
        let given = given.map(|(key, value)| (key.as_str(), Some(value)));
        let Some((key, value)) = given.or_else(|| Some((self.missing.next()?, None))) else {
            return Ok(None);
        };
        self.value = Some((key.to_owned(), value));
        let name: StrDeserializer<'_, Fault> = key.into_deserializer();
        state.below(Step::Key(key.to_owned()), || seed.deserialize(name)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        let Some((key, value)) = self.value.take() else {
            return Err(Fault::custom("a value without a key"));
        };
        let (state, step) = (self.state, Step::Key(key));
        let known = state.known(&step);
        let read = || match (known, value) {
            (None | Some(Problem::Missing(_)), Some(value)) => At { value, state }.read(seed),
            _ => seed.deserialize(StandIn),
        };
        state.below(step, read)
    }
}

/// A value of an enum: its word alone, or a table with the word as its key.
struct Variant<'a> {
    variant: &'a str,
    content: Option<&'a Value>,
    state: &'a State,
}

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Fault> {
        let name: StrDeserializer<'_, Fault> = self.variant.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl Variant<'_> {
    /// Reads what belongs to the word.
    fn inside<T>(&self, what: &str, read: impl FnOnce(At<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
        let Some(value) = self.content else {
            return Err(Fault::custom(format!("\"{}\" needs {what} beside it", self.variant)));
        };
        let state = self.state;
        state.below(Step::Key(self.variant.to_owned()), || read(At { value, state }))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        match self.content {
            None => Ok(()),
            Some(_) => Err(Fault::custom(format!("\"{}\" stands alone", self.variant))),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        self.inside("a value", |at| seed.deserialize(at))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.inside("an array", |at| at.deserialize_any(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.inside("a table", |at| at.deserialize_any(visitor))
    }
}
