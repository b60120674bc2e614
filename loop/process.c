#include "loop/process.h"
