#include "loop/watchdog.h"
