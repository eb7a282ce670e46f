"""A ready configuration of graphql-codegen: what TypeScript calls each scalar."""

from __future__ import annotations

import json

from graphql import GraphQLScalarType, is_specified_scalar_type

from gateway.api.schema import Schema

#: What is read, and what is written. Of a Long what is beyond JavaScript's exact numbers is text.
SCALARS = {
    "Cursor": ("string", "string"),
    "DateTime": ("string", "string"),
    "JSON": ("unknown", "unknown"),
    "Long": ("number | string", "number | string"),
}
#: Of a scalar that a plugin brings.
_UNKNOWN = ("unknown", "unknown")


def scalars_of(schema: Schema) -> dict[str, tuple[str, str]]:
    """Every scalar of a schema that is not GraphQL's own, as TypeScript reads and writes it."""
    kinds = schema._schema.type_map.items()
    named = [name for name, kind in kinds if isinstance(kind, GraphQLScalarType) and not is_specified_scalar_type(kind)]
    return {name: SCALARS.get(name, _UNKNOWN) for name in sorted(named)}


def codegen_config(schema: Schema, *, source: str, documents: str, output: str) -> str:
    """`codegen.ts` for the client preset; `source` is where it reads the schema, an address or a file."""
    scalars = ",\n".join(
        f"          {name}: {{ input: {json.dumps(written)}, output: {json.dumps(read)} }}"
        for name, (read, written) in scalars_of(schema).items()
    )
    return f"""\
import type {{ CodegenConfig }} from "@graphql-codegen/cli";

// Needs: npm install --save-dev @graphql-codegen/cli @graphql-codegen/client-preset
const config: CodegenConfig = {{
  schema: {json.dumps(source)},
  documents: [{json.dumps(documents)}],
  ignoreNoDocuments: true,
  generates: {{
    {json.dumps(output)}: {{
      preset: "client",
      config: {{
        // A value that is not in the plan yet, or no longer, is null: enumerations are the plan's.
        enumsAsTypes: true,
        useTypeImports: true,
        strictScalars: true,
        scalars: {{
{scalars},
        }},
      }},
    }},
  }},
}};

export default config;
"""
