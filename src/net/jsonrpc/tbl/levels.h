/* Log levels of logging/setLevel. */
LEVEL(emergency)
LEVEL(alert)
LEVEL(critical)
LEVEL(error)
LEVEL(warning)
LEVEL(notice)
LEVEL(info)
LEVEL(debug)
