"""What counts as a definition or a use in each language, as tree-sitter queries.

Every pattern has one tag, `def.<kind>` or `ref.<kind>`, on the node that it spans, and the name as
`name`; or as `decl` (a C declarator, which holds the name somewhere inside). `owner` stands before
the name, `prefix` before an imported one; `body` goes on behind the node of the tag. Four tags are
read by grammar.py itself: ref.from (Python), ref.use (Rust), ref.bare and ref.local (Ruby: a bare
word is a call unless it is local).
"""

from __future__ import annotations

_ECMA = """
(function_declaration name: (identifier) @name) @def.function
(generator_function_declaration name: (identifier) @name) @def.function
(method_definition name: [(property_identifier) (private_property_identifier)] @name) @def.method
(lexical_declaration (variable_declarator name: (identifier) @name
    value: [(arrow_function) (function_expression) (generator_function)])) @def.function
(variable_declaration (variable_declarator name: (identifier) @name
    value: [(arrow_function) (function_expression) (generator_function)])) @def.function
(lexical_declaration (variable_declarator name: (identifier) @name value: (class))) @def.class
(assignment_expression left: (member_expression property: (property_identifier) @name)
    right: [(arrow_function) (function_expression) (generator_function)]) @def.function
(assignment_expression left: (member_expression property: (property_identifier) @name)
    right: (class)) @def.class
(pair key: (property_identifier) @name value: [(arrow_function) (function_expression)]) @def.method
(program (lexical_declaration (variable_declarator name: (identifier) @name)) @def.constant)
(program (variable_declaration (variable_declarator name: (identifier) @name)) @def.constant)
(program (export_statement (lexical_declaration
    (variable_declarator name: (identifier) @name)) @def.constant))
(call_expression function: [(identifier) @name
    (member_expression property: [(property_identifier) (private_property_identifier)] @name)
    (await_expression [(identifier) @name
        (member_expression property: (property_identifier) @name)])]) @ref.call
(new_expression constructor: [(identifier) @name
    (member_expression property: (property_identifier) @name)]) @ref.call
(decorator [(identifier) @name (member_expression property: (property_identifier) @name)])
    @ref.call
(import_statement source: (string) @name) @ref.import
(export_statement source: (string) @name) @ref.import
(call_expression function: [(identifier) (import)] @require arguments: (arguments . (string) @name)
    (#match? @require "^(require|import)$")) @ref.import
"""
_JSX = """
(jsx_opening_element name: [(identifier) @name
    (member_expression property: (property_identifier) @name)] (#match? @name "^[A-Z]")) @ref.call
(jsx_self_closing_element name: [(identifier) @name
    (member_expression property: (property_identifier) @name)] (#match? @name "^[A-Z]")) @ref.call
"""
_JAVASCRIPT = """
(class_declaration name: (identifier) @name) @def.class
(field_definition property: [(property_identifier) (private_property_identifier)] @name
    value: [(arrow_function) (function_expression)]) @def.method
(field_definition property: [(property_identifier) (private_property_identifier)] @name) @def.field
(class_heritage [(identifier) @name (member_expression property: (property_identifier) @name)
    (call_expression function: (identifier) @name)]) @ref.base
"""
_TYPESCRIPT = """
(class_declaration name: (type_identifier) @name) @def.class
(abstract_class_declaration name: (type_identifier) @name) @def.class
(interface_declaration name: (type_identifier) @name) @def.interface
(type_alias_declaration name: (type_identifier) @name) @def.type
(enum_declaration name: (identifier) @name) @def.enum
(enum_body [(property_identifier) @name (enum_assignment name: (property_identifier) @name)]
    @def.field)
(function_signature name: (identifier) @name) @def.function
(abstract_method_signature name: (property_identifier) @name) @def.method
(method_signature name: (property_identifier) @name) @def.method
(property_signature name: (property_identifier) @name) @def.field
(public_field_definition name: [(property_identifier) (private_property_identifier)] @name
    value: [(arrow_function) (function_expression)]) @def.method
(public_field_definition name: [(property_identifier) (private_property_identifier)] @name)
    @def.field
(internal_module name: [(identifier) (nested_identifier)] @name) @def.module
(module name: (_) @name) @def.module
(extends_clause value: [(identifier) @name (member_expression property: (property_identifier) @name)
    (call_expression function: (identifier) @name)]) @ref.base
(implements_clause [(type_identifier) @name (generic_type name: (type_identifier) @name)
    (nested_type_identifier name: (type_identifier) @name)]) @ref.base
(extends_type_clause type: [(type_identifier) @name (generic_type name: (type_identifier) @name)
    (nested_type_identifier name: (type_identifier) @name)]) @ref.base
(type_identifier) @name @ref.type
(import_require_clause source: (string) @name) @ref.import
"""
_C = """
(function_definition declarator: (_) @decl) @def.function
(struct_specifier name: (type_identifier) @name body: (_)) @def.struct
(union_specifier name: (type_identifier) @name body: (_)) @def.union
(enum_specifier name: (type_identifier) @name body: (_)) @def.enum
(enumerator name: (identifier) @name) @def.constant
(type_definition declarator: (_) @decl) @def.type
(preproc_function_def name: (identifier) @name) @def.macro
(preproc_def name: (identifier) @name) @def.macro
(translation_unit (declaration declarator: (init_declarator declarator: (_) @decl)) @def.constant)
(translation_unit (declaration declarator: [(identifier) (array_declarator) (pointer_declarator)]
    @decl) @def.constant)
(field_declaration declarator: (_) @decl) @def.field
(ERROR [(function_declarator) (pointer_declarator declarator: (function_declarator))] @decl
    @def.function . "{")
(translation_unit (expression_statement (call_expression function: (identifier) @require
    arguments: (argument_list . (identifier) @name))) @def.function . (compound_statement) @body
    (#match? @require "^[A-Z][A-Z0-9_]+$"))
(preproc_ifdef (expression_statement (call_expression function: (identifier) @require
    arguments: (argument_list . (identifier) @name))) @def.function . (compound_statement) @body
    (#match? @require "^[A-Z][A-Z0-9_]+$"))
(preproc_include path: (_) @name) @ref.import
"""
_CPP = """
(class_specifier name: [(type_identifier) @name (template_type name: (type_identifier) @name)
    (qualified_identifier) @name] body: (_)) @def.class
(struct_specifier name: (template_type name: (type_identifier) @name) body: (_)) @def.struct
(function_definition (ERROR (identifier) @require) declarator: (identifier) @name
    (#match? @require "^(class|struct)$")) @def.class
(namespace_definition name: (_) @name) @def.module
(alias_declaration name: (type_identifier) @name) @def.type
(concept_definition name: (identifier) @name) @def.type
(declaration_list (declaration declarator: (init_declarator declarator: (_) @decl)) @def.constant)
(declaration_list (declaration declarator: (identifier) @decl) @def.constant)
(field_declaration_list (declaration declarator: (function_declarator) @decl) @def.method)
(call_expression function: [(identifier) @name
    (field_expression field: [(field_identifier) @name
        (template_method name: (field_identifier) @name)
        (dependent_name (template_method name: (field_identifier) @name))])
    (template_function name: (identifier) @name)
    (qualified_identifier name: [(identifier) @name (template_function name: (identifier) @name)
        (qualified_identifier name: [(identifier) @name
            (template_function name: (identifier) @name)
            (qualified_identifier name: (identifier) @name)])])]) @ref.call
(new_expression type: [(type_identifier) @name (template_type name: (type_identifier) @name)
    (qualified_identifier name: [(type_identifier) @name
        (template_type name: (type_identifier) @name)])]) @ref.call
(base_class_clause [(type_identifier) @name (template_type name: (type_identifier) @name)
    (qualified_identifier name: [(type_identifier) @name
        (template_type name: (type_identifier) @name)])]) @ref.base
(type_identifier) @name @ref.type
"""

TAG_QUERIES = {
    "python": """
(class_definition name: (identifier) @name) @def.class
(function_definition name: (identifier) @name) @def.function
(module (expression_statement (assignment left: [(identifier) @name
    (pattern_list (identifier) @name)])) @def.constant)
(module (_ (block (expression_statement (assignment left: (identifier) @name)) @def.constant)))
(module (_ (_ (block (expression_statement (assignment left: (identifier) @name)) @def.constant))))
(class_definition body: (block (expression_statement (assignment left: (identifier) @name))
    @def.field))
(type_alias_statement left: (type [(identifier) @name (generic_type . (identifier) @name)]))
    @def.type
(call function: [(identifier) @name (attribute attribute: (identifier) @name)]) @ref.call
(decorator [(identifier) @name (attribute attribute: (identifier) @name)]) @ref.call
(class_definition superclasses: (argument_list
    [(identifier) @name (attribute attribute: (identifier) @name)
    (subscript value: [(identifier) @name (attribute attribute: (identifier) @name)])
    (keyword_argument value: (identifier) @name)])) @ref.base
(type [(identifier) @name (generic_type . (identifier) @name)
    (attribute attribute: (identifier) @name)]) @ref.type
(import_statement name: [(dotted_name) @name (aliased_import name: (dotted_name) @name)])
    @ref.import
(import_from_statement) @ref.from
""",
    "javascript": _ECMA + _JSX + _JAVASCRIPT,
    "typescript": _ECMA + _TYPESCRIPT,
    "tsx": _ECMA + _JSX + _TYPESCRIPT,
    "go": """
(function_declaration name: (identifier) @name) @def.function
(method_declaration receiver: (parameter_list (parameter_declaration type: [
    (type_identifier) @owner (generic_type type: (type_identifier) @owner)
    (pointer_type [(type_identifier) @owner (generic_type type: (type_identifier) @owner)])]))
    name: (field_identifier) @name) @def.method
(type_spec name: (type_identifier) @name type: (struct_type)) @def.struct
(type_spec name: (type_identifier) @name type: (interface_type)) @def.interface
(type_spec name: (type_identifier) @name) @def.type
(type_alias name: (type_identifier) @name) @def.type
(method_elem name: (field_identifier) @name) @def.method
(field_declaration name: (field_identifier) @name) @def.field
(field_declaration !name type: [(type_identifier) @name (qualified_type name: (_) @name)
    (generic_type type: (type_identifier) @name)]) @ref.base
(interface_type (type_elem . [(type_identifier) @name (qualified_type name: (_) @name)
    (generic_type type: (type_identifier) @name)] .)) @ref.base
(source_file (const_declaration (const_spec name: (identifier) @name) @def.constant))
(source_file (var_declaration [(var_spec name: (identifier) @name)
    (var_spec_list (var_spec name: (identifier) @name))] @def.constant))
(call_expression function: [(identifier) @name
    (selector_expression field: (field_identifier) @name)
    (parenthesized_expression (identifier) @name)]) @ref.call
(type_conversion_expression type: (generic_type
    type: [(type_identifier) @name (qualified_type name: (_) @name)])) @ref.call
(type_identifier) @name @ref.type
(import_spec path: (_) @name) @ref.import
""",
    "rust": """
(function_item name: (identifier) @name) @def.function
(function_signature_item name: (identifier) @name) @def.function
(struct_item name: (type_identifier) @name) @def.struct
(enum_item name: (type_identifier) @name) @def.enum
(enum_variant name: (identifier) @name) @def.field
(field_declaration name: (field_identifier) @name) @def.field
(union_item name: (type_identifier) @name) @def.union
(trait_item name: (type_identifier) @name) @def.trait
(type_item name: (type_identifier) @name) @def.type
(associated_type name: (type_identifier) @name) @def.type
(mod_item name: (identifier) @name) @def.module
(macro_definition name: (identifier) @name) @def.macro
(const_item name: (identifier) @name) @def.constant
(static_item name: (identifier) @name) @def.constant
(impl_item type: [(type_identifier) @name (generic_type type: (type_identifier) @name)
    (scoped_type_identifier name: (type_identifier) @name)
    (generic_type type: (scoped_type_identifier name: (type_identifier) @name))
    (reference_type type: (type_identifier) @name)]) @def.impl
(impl_item trait: [(type_identifier) @name (generic_type type: (type_identifier) @name)
    (scoped_type_identifier name: (type_identifier) @name)]) @ref.base
(trait_item bounds: (trait_bounds [(type_identifier) @name
    (generic_type type: (type_identifier) @name)])) @ref.base
(call_expression function: [(identifier) @name (field_expression field: (field_identifier) @name)
    (scoped_identifier name: (identifier) @name)
    (generic_function function: [(identifier) @name
        (field_expression field: (field_identifier) @name)
        (scoped_identifier name: (identifier) @name)])]) @ref.call
(macro_invocation macro: [(identifier) @name (scoped_identifier name: (identifier) @name)])
    @ref.call
(token_tree (identifier) @name . (token_tree . "(")) @ref.call
(struct_expression name: [(type_identifier) @name
    (scoped_type_identifier name: (type_identifier) @name)]) @ref.type
(type_identifier) @name @ref.type
(use_declaration argument: (_) @name) @ref.use
(extern_crate_declaration name: (identifier) @name) @ref.import
(mod_item name: (identifier) @name !body) @ref.import
""",
    "java": """
(class_declaration name: (identifier) @name) @def.class
(interface_declaration name: (identifier) @name) @def.interface
(enum_declaration name: (identifier) @name) @def.enum
(record_declaration name: (identifier) @name) @def.class
(annotation_type_declaration name: (identifier) @name) @def.interface
(method_declaration name: (identifier) @name) @def.method
(constructor_declaration name: (identifier) @name) @def.method
(compact_constructor_declaration name: (identifier) @name) @def.method
(annotation_type_element_declaration name: (identifier) @name) @def.method
(field_declaration declarator: (variable_declarator name: (identifier) @name)) @def.field
(constant_declaration declarator: (variable_declarator name: (identifier) @name)) @def.field
(enum_constant name: (identifier) @name) @def.field
(method_invocation name: (identifier) @name) @ref.call
(method_reference (identifier) @name .) @ref.call
(object_creation_expression type: [(type_identifier) @name (generic_type (type_identifier) @name)
    (scoped_type_identifier (type_identifier) @name .)
    (generic_type (scoped_type_identifier (type_identifier) @name .))]) @ref.call
(superclass [(type_identifier) @name (generic_type . (type_identifier) @name)
    (scoped_type_identifier (type_identifier) @name .)]) @ref.base
(super_interfaces (type_list [(type_identifier) @name (generic_type . (type_identifier) @name)
    (scoped_type_identifier (type_identifier) @name .)])) @ref.base
(extends_interfaces (type_list [(type_identifier) @name (generic_type . (type_identifier) @name)
    (scoped_type_identifier (type_identifier) @name .)])) @ref.base
(marker_annotation name: (identifier) @name) @ref.type
(annotation name: (identifier) @name) @ref.type
(type_identifier) @name @ref.type
(import_declaration [(scoped_identifier) (identifier)] @name) @ref.import
""",
    "c": _C
    + """
(call_expression function: [(identifier) @name
    (field_expression field: (field_identifier) @name)]) @ref.call
""",
    "cpp": _CPP + _C,
    "csharp": """
(class_declaration name: (identifier) @name) @def.class
(interface_declaration name: (identifier) @name) @def.interface
(struct_declaration name: (identifier) @name) @def.struct
(enum_declaration name: (identifier) @name) @def.enum
(enum_member_declaration name: (identifier) @name) @def.field
(record_declaration name: (identifier) @name) @def.class
(delegate_declaration name: (identifier) @name) @def.type
(method_declaration name: (identifier) @name) @def.method
(local_function_statement name: (identifier) @name) @def.function
(constructor_declaration name: (identifier) @name) @def.method
(destructor_declaration name: (identifier) @name) @def.method
(property_declaration name: (identifier) @name) @def.property
(event_declaration name: (identifier) @name) @def.property
(event_field_declaration (variable_declaration (variable_declarator name: (identifier) @name)))
    @def.field
(field_declaration (variable_declaration (variable_declarator name: (identifier) @name)))
    @def.field
(namespace_declaration name: (_) @name) @def.module
(file_scoped_namespace_declaration name: (_) @name) @def.module
(invocation_expression function: [(identifier) @name (generic_name (identifier) @name)
    (member_access_expression name: [(identifier) @name (generic_name (identifier) @name)])
    (conditional_access_expression (member_binding_expression
        name: [(identifier) @name (generic_name (identifier) @name)]))]) @ref.call
(object_creation_expression type: [(identifier) @name (generic_name (identifier) @name)
    (qualified_name name: [(identifier) @name (generic_name (identifier) @name)])]) @ref.call
(base_list [(identifier) @name (generic_name (identifier) @name)
    (qualified_name name: [(identifier) @name (generic_name (identifier) @name)])
    (primary_constructor_base_type type: (identifier) @name)]) @ref.base
(attribute name: (identifier) @name) @ref.type
(_ type: [(identifier) @name (generic_name (identifier) @name)
    (nullable_type type: (identifier) @name)]) @ref.type
(_ returns: [(identifier) @name (generic_name (identifier) @name)]) @ref.type
(type_argument_list (identifier) @name) @ref.type
(using_directive [(identifier) (qualified_name)] @name .) @ref.import
""",
    "ruby": """
(method name: (_) @name) @def.method
(singleton_method name: (_) @name) @def.method
(class name: [(constant) (scope_resolution)] @name) @def.class
(module name: [(constant) (scope_resolution)] @name) @def.module
(assignment left: (constant) @name right: (call receiver: (constant) @require)
    (#match? @require "^(Struct|Class|Module|Data)$")) @def.class
(assignment left: (constant) @name) @def.constant
(alias name: (_) @name) @def.method
(call method: (identifier) @require arguments: (argument_list (simple_symbol) @name)
    (#match? @require "^attr_(reader|writer|accessor)$")) @def.property
(call method: (identifier) @require arguments: (argument_list . (simple_symbol) @name)
    (#match? @require "^(define_method|define_singleton_method|alias_method|scope)$")) @def.method
(superclass [(constant) @name (scope_resolution name: (constant) @name)]) @ref.base
(assignment left: (constant) right: (call receiver: (constant) @require
    arguments: (argument_list . [(constant) @name (scope_resolution name: (constant) @name)]))
    (#eq? @require "Class")) @ref.base
(call !receiver method: (identifier) @require arguments: (argument_list
    [(constant) @name (scope_resolution name: (constant) @name)])
    (#match? @require "^(include|extend|prepend)$")) @ref.base
(call method: [(identifier) (constant)] @name) @ref.call
(body_statement (identifier) @name) @ref.bare
(argument_list (identifier) @name) @ref.bare
(_ [receiver: (identifier) @name right: (identifier) @name left: (identifier) @name
    condition: (identifier) @name body: (identifier) @name]) @ref.bare
(assignment left: [(identifier) @name (left_assignment_list (identifier) @name)]) @ref.local
(operator_assignment left: (identifier) @name) @ref.local
(method_parameters (identifier) @name) @ref.local
(block_parameters (identifier) @name) @ref.local
(_ parameters: (_ (_ name: (identifier) @name))) @ref.local
(call !receiver method: (identifier) @require arguments: (argument_list . (string) @name)
    (#match? @require "^(require|require_relative|load)$")) @ref.import
(call !receiver method: (identifier) @require arguments: (argument_list (_) . (string) @name)
    (#match? @require "^autoload$")) @ref.import
""",
    "php": """
(namespace_definition name: (_) @name) @def.module
(function_definition name: (name) @name) @def.function
(method_declaration name: (name) @name) @def.method
(class_declaration name: (name) @name) @def.class
(interface_declaration name: (name) @name) @def.interface
(trait_declaration name: (name) @name) @def.trait
(enum_declaration name: (name) @name) @def.enum
(enum_case name: (name) @name) @def.field
(property_element (variable_name (name) @name)) @def.field
(property_promotion_parameter name: (variable_name (name) @name)) @def.field
(const_element . (name) @name) @def.constant
(function_call_expression function: (name) @require arguments: (arguments . (argument
    [(string) (encapsed_string)] @name)) (#match? @require "^define$")) @def.constant
(function_call_expression function: [(name) @name (qualified_name (name) @name .)
    (relative_name (name) @name .)]) @ref.call
(member_call_expression name: (name) @name) @ref.call
(nullsafe_member_call_expression name: (name) @name) @ref.call
(scoped_call_expression name: (name) @name) @ref.call
(object_creation_expression . [(name) @name (qualified_name (name) @name .)]) @ref.call
(attribute [(name) @name (qualified_name (name) @name .)]) @ref.type
(base_clause [(name) @name (qualified_name (name) @name .)]) @ref.base
(class_interface_clause [(name) @name (qualified_name (name) @name .)]) @ref.base
(use_declaration [(name) @name (qualified_name (name) @name .)]) @ref.base
(named_type [(name) @name (qualified_name (name) @name .)]) @ref.type
(namespace_use_declaration (namespace_use_clause . [(name) (qualified_name)] @name)) @ref.import
(namespace_use_declaration (namespace_name) @prefix body: (namespace_use_group
    (namespace_use_clause . [(name) (qualified_name)] @name))) @ref.import
(_ [(require_expression [(string) (encapsed_string)] @name)
    (require_once_expression [(string) (encapsed_string)] @name)
    (include_expression [(string) (encapsed_string)] @name)
    (include_once_expression [(string) (encapsed_string)] @name)
    (require_expression (_ [(string) (encapsed_string)] @name))
    (require_once_expression (_ [(string) (encapsed_string)] @name))
    (include_expression (_ [(string) (encapsed_string)] @name))
    (include_once_expression (_ [(string) (encapsed_string)] @name))]) @ref.import
""",
    "bash": """
(function_definition name: (word) @name) @def.function
(program (variable_assignment name: (variable_name) @name) @def.constant)
(program (declaration_command (variable_assignment name: (variable_name) @name)) @def.constant)
(command name: (command_name (word) @name)) @ref.call
(command name: (command_name (word) @require) . argument: [(word) @name (raw_string) @name]
    (#match? @require "^trap$")) @ref.call
(command name: (command_name (word) @require)
    argument: [(word) (string) (raw_string) (concatenation)] @name
    (#match? @require "^(source|\\\\.)$")) @ref.import
""",
}
