#include "loop/terminal.h"
