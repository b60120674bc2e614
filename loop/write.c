#include "loop/stream.h"
