//! The table as Parquet: one row group, dictionaries, Snappy.
//!
//! By the `parquet` crate without its default features: Arrow and the codecs in C stay out, and what is written is what
//! its own readers and everybody else's have been tested with.

use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as PhysicalType};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;

use super::StudyError;
use super::columns::{Column, Values};

/// The bytes of a file.
pub(super) fn parquet(table: &[Column]) -> Result<Vec<u8>, StudyError> {
    encode(table).map_err(|error| StudyError::Parquet(Box::new(error)))
}

fn encode(table: &[Column]) -> Result<Vec<u8>, ParquetError> {
    let fields = table.iter().map(field).collect::<Result<Vec<_>, _>>()?;
    let schema = Type::group_type_builder("results").with_fields(fields).build()?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by("isochrone".to_owned())
        .build();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, Arc::new(schema), Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    for column in table {
        match &column.values {
            Values::Text(values) => {
                let present: Vec<ByteArray> =
                    values.iter().flatten().map(|text| ByteArray::from(text.as_str())).collect();
                write::<ByteArrayType, _>(&mut group, &present, values)?;
            }
            Values::Whole(values) => {
                write::<Int64Type, _>(
                    &mut group,
                    &values.iter().flatten().copied().collect::<Vec<_>>(),
                    values,
                )?;
            }
            Values::Real(values) => {
                write::<DoubleType, _>(
                    &mut group,
                    &values.iter().flatten().copied().collect::<Vec<_>>(),
                    values,
                )?;
            }
        }
    }
    group.close()?;
    writer.close()?;
    Ok(bytes)
}

fn field(column: &Column) -> Result<Arc<Type>, ParquetError> {
    let (physical, logical) = match &column.values {
        Values::Text(_) => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
        Values::Whole(_) => (PhysicalType::INT64, None),
        Values::Real(_) => (PhysicalType::DOUBLE, None),
    };
    let builder = Type::primitive_type_builder(&column.name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical);
    builder.build().map(Arc::new)
}

/// A column of the group: the values that are there, and by row whether there is one.
fn write<D: DataType, V>(
    group: &mut SerializedRowGroupWriter<'_, &mut Vec<u8>>,
    present: &[D::T],
    values: &[Option<V>],
) -> Result<(), ParquetError> {
    let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
    if let Some(mut writer) = group.next_column()? {
        writer.typed::<D>().write_batch(present, Some(&levels), None)?;
        writer.close()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;

    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let table = [
            Column {
                name: "policy".to_owned(),
                values: Values::Text(vec![Some("heft".to_owned()), None, Some("é,\"".to_owned())]),
            },
            Column { name: "makespan_ns".to_owned(), values: Values::Whole(vec![Some(7), Some(-1), None]) },
            Column { name: "slr".to_owned(), values: Values::Real(vec![None, Some(1.25), Some(0.1)]) },
        ];
        let bytes = parquet(&table).unwrap();
        assert_eq!(bytes, parquet(&table).unwrap());
        let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
        let rows: Vec<Vec<Field>> = reader
            .get_row_iter(None)
            .unwrap()
            .map(|row| row.unwrap().get_column_iter().map(|(_, field)| field.clone()).collect())
            .collect();
        assert_eq!(rows[0], [Field::Str("heft".to_owned()), Field::Long(7), Field::Null]);
        assert_eq!(rows[1], [Field::Null, Field::Long(-1), Field::Double(1.25)]);
        assert_eq!(rows[2], [Field::Str("é,\"".to_owned()), Field::Null, Field::Double(0.1)]);
    }
}
