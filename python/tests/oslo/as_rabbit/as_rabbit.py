"""A plugin for pytest: `rabbit://` is `greenloom://`, for tests of oslo.messaging that only run on the former."""

from greenloom.oslo import Driver
from oslo_messaging._drivers import impl_rabbit

impl_rabbit.RabbitDriver = Driver
