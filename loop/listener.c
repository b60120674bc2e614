#include "loop/listener.h"
