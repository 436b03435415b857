/* Types of params members: TYPE(name, text in "'member' must be ..."). */
TYPE(STRING, "a string")
TYPE(OBJECT, "an object")
TYPE(NUMBER, "a number")
TYPE(UNSIGNED, "an unsigned integer")
TYPE(STRING_OR_INTEGER, "a string or an integer")
TYPE(STRINGS, "an object of strings")
TYPE(LEVEL, "a log level")
TYPE(REFERENCE, "a reference to a prompt with a name or a resource with a uri")
