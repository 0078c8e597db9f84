//! Reads a YAML document in two passes: first its shape, then its content. The deserializer only returns the
//! text of a scalar if the caller knows that the node is a scalar.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::{Node, TOO_LARGE, merge};

/// A node without its text.
pub(super) enum Shape {
    Null,
    Scalar,
    List(Vec<Shape>),
    Map(Vec<Shape>),
    Tagged(String),
}

/// The weight of a node besides its text.
const NODE_WEIGHT: usize = 64;

/// Reads the shape.
#[derive(Clone, Copy)]
pub(super) struct ShapeSeed<'b> {
    /// The remaining weight, in bytes.
    pub(super) budget: &'b Cell<usize>,
}

impl ShapeSeed<'_> {
    fn spend<E: Error>(self, text: usize) -> Result<(), E> {
        let left = self.budget.get().checked_sub(text + NODE_WEIGHT);
        let left = left.ok_or_else(|| E::custom(TOO_LARGE))?;
        self.budget.set(left);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for ShapeSeed<'_> {
    type Value = Shape;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Shape, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ShapeSeed<'_> {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E: Error>(self) -> Result<Shape, E> {
        self.spend(0)?;
        Ok(Shape::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Shape, E> {
        self.visit_unit()
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Shape, E> {
        self.visit_str("")
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Shape, E> {
        self.visit_str("")
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Shape, E> {
        self.visit_str("")
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Shape, E> {
        self.visit_str("")
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Shape, E> {
        self.visit_str("")
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Shape, E> {
        self.visit_str("")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Shape, E> {
        self.spend(text.len())?;
        Ok(Shape::Scalar)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
        self.spend(0)?;
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Shape::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        self.spend(0)?;
        let mut values = Vec::new();
        while let Some(Key(key)) = map.next_key()? {
            self.spend(key.len())?;
            values.push(map.next_value_seed(self)?);
        }
        Ok(Shape::Map(values))
    }

    /// A value with a custom tag, such as `!Sub`.
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Shape, A::Error> {
        let (Key(tag), content) = tagged.variant()?;
        // `! x` only means that x is text.
        if tag == "!" {
            return content.newtype_variant_seed(self);
        }
        self.spend(tag.len())?;
        content.newtype_variant::<IgnoredAny>()?;
        Ok(Shape::Tagged(tag))
    }
}

/// Reads the content of a document that has this shape.
impl<'de> DeserializeSeed<'de> for &Shape {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        match self {
            Shape::Null => deserializer.deserialize_ignored_any(IgnoredAny).map(|_| Node::Null),
            Shape::Scalar => deserializer.deserialize_str(Text).map(Node::Scalar),
            Shape::List(items) => deserializer.deserialize_seq(ListVisitor(items)),
            Shape::Map(values) => deserializer.deserialize_map(MapVisitor(values)),
            Shape::Tagged(tag) => {
                deserializer.deserialize_ignored_any(IgnoredAny).map(|_| Node::Tagged(tag.clone()))
            }
        }
    }
}

struct ListVisitor<'s>(&'s [Shape]);

impl<'de> Visitor<'de> for ListVisitor<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::with_capacity(self.0.len());
        for shape in self.0 {
            items.extend(list.next_element_seed(shape)?);
        }
        Ok(Node::List(items))
    }
}

struct MapVisitor<'s>(&'s [Shape]);

impl<'de> Visitor<'de> for MapVisitor<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::with_capacity(self.0.len());
        for shape in self.0 {
            if let Some(Key(key)) = map.next_key()? {
                entries.push((key, map.next_value_seed(shape)?));
            }
        }
        Ok(Node::Map(merge(entries)))
    }
}

/// A map's key, as it is written.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text).map(Self)
    }
}

struct Text;

impl Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}
